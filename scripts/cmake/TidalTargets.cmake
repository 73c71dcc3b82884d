# How libraries, programs and tests of tidalmesh are declared, and the flags that all of them share.
#
#   tidal_library(tidal_wal SOURCES a.c b.c LINKS tidal_base tidal::blake3)
#   tidal_program(tidal_keeper SOURCES main.c LINKS tidal_keeper_core)         -> <build>/bin
#   tidal_test(test_wal_log SOURCES test_wal_log.c LINKS tidal_wal LABEL unit TIMEOUT 60 [ARGS ...])
#   tidal_script_test(mesh_kill COMMAND tests/mesh/test_kill.py LABEL mesh TIMEOUT 120 [PARALLEL])
#
# tidal_test links cmocka by itself. A script test runs in the source folder and finds the programs
# in the folder that the environment variable TIDAL_BIN names; exit status 77 means skipped. Nothing
# else runs beside it unless it is PARALLEL.
include_guard(GLOBAL)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Checks stay in every build: no -DNDEBUG.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Debug CACHE STRING "Debug, RelWithDebInfo or Release" FORCE)
endif()

find_program(TIDAL_CCACHE ccache)
if(TIDAL_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER "${TIDAL_CCACHE}")
endif()

# The flags of every source file of the project; sources of others are compiled without them.
add_library(tidal_flags INTERFACE)
target_compile_definitions(tidal_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(tidal_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wundef -Wcast-align -Wcast-qual -Wformat=2 -Wvla -Wswitch-enum
    -Wnull-dereference -Wdouble-promotion -fno-common -fstack-protector-strong
    # Decayed sums must have the same bits on every processor: never fuse a multiply and an add.
    -ffp-contract=off
    $<$<C_COMPILER_ID:GNU>:-Wlogical-op;-Wduplicated-branches;-Wjump-misses-init>
    $<$<C_COMPILER_ID:Clang>:-Wcomma;-Wshorten-64-to-32>
    -Werror)
# The only -I of the project: includes are written from the root of the tree.
target_include_directories(tidal_flags INTERFACE "${PROJECT_SOURCE_DIR}")

# A source that is not there yet does not stop the work on other folders: it is named, left out, and
# what needs it does not link. scripts/test makes an error of it (-Werror=dev).
function(tidal_present_sources ret_sources owner)
    set(present "")
    foreach(source IN LISTS ARGN)
        if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/${source}" OR EXISTS "${source}"
           OR EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
            list(APPEND present "${source}")
        else()
            message(AUTHOR_WARNING "${owner}: there is no ${CMAKE_CURRENT_SOURCE_DIR}/${source}")
        endif()
    endforeach()
    if(NOT present)
        file(WRITE "${CMAKE_BINARY_DIR}/empty.c" "typedef int empty_t;\n")
        set(present "${CMAKE_BINARY_DIR}/empty.c")
    endif()
    set(${ret_sources} "${present}" PARENT_SCOPE)
endfunction()

function(tidal_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
        message(FATAL_ERROR "tidal_library(${name}): expected SOURCES <files> [LINKS <targets>]")
    endif()
    tidal_present_sources(arg_SOURCES ${name} ${arg_SOURCES})
    add_library(${name} STATIC ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE tidal_flags PUBLIC ${arg_LINKS})
endfunction()

function(tidal_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
        message(FATAL_ERROR "tidal_program(${name}): expected SOURCES <files> [LINKS <targets>]")
    endif()
    tidal_present_sources(arg_SOURCES ${name} ${arg_SOURCES})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE tidal_flags ${arg_LINKS})
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
endfunction()

# What every test sees: where the programs are, and how the sanitizers report.
function(tidal_test_properties name label timeout)
    set_tests_properties(${name} PROPERTIES
        LABELS "${label}"
        TIMEOUT "${timeout}"
        ENVIRONMENT "TIDAL_BIN=${PROJECT_BINARY_DIR}/bin;TIDAL_SOURCE=${PROJECT_SOURCE_DIR};UBSAN_OPTIONS=print_stacktrace=1;TSAN_OPTIONS=ignore_noninstrumented_modules=1")
endfunction()

function(tidal_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT" "SOURCES;LINKS;ARGS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES OR NOT arg_LABEL OR NOT arg_TIMEOUT)
        message(FATAL_ERROR "tidal_test(${name}): expected SOURCES <files> LABEL <label> "
            "TIMEOUT <seconds> [LINKS <targets>] [ARGS <arguments>]")
    endif()
    tidal_present_sources(arg_SOURCES ${name} ${arg_SOURCES})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE tidal_flags ${arg_LINKS} tidal::cmocka)
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/bin")
    add_test(NAME ${name} COMMAND ${name} ${arg_ARGS})
    tidal_test_properties(${name} "${arg_LABEL}" "${arg_TIMEOUT}")
endfunction()

function(tidal_script_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "PARALLEL" "LABEL;TIMEOUT" "COMMAND")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_COMMAND OR NOT arg_LABEL OR NOT arg_TIMEOUT)
        message(FATAL_ERROR "tidal_script_test(${name}): expected COMMAND <command> LABEL <label> "
            "TIMEOUT <seconds> [PARALLEL]")
    endif()
    add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    tidal_test_properties(${name} "${arg_LABEL}" "${arg_TIMEOUT}")
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
    if(NOT arg_PARALLEL)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
    endif()
endfunction()
