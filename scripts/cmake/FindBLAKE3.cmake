# BLAKE3 as the target tidal::blake3, from the first of these places that has it:
#
#   config     a CMake package of an installed libblake3
#   pkgconfig  libblake3 by pkg-config
#   debian     the C and assembly sources in Debian's package librust-blake3-dev, compiled here
#
# TIDAL_BLAKE3_SOURCE forces one of them; `portable` is `debian` without any assembly, for
# MemorySanitizer, which cannot see what assembly writes. Sets BLAKE3_FOUND.
set(TIDAL_BLAKE3_SOURCE "auto" CACHE STRING "auto, config, pkgconfig, debian or portable")
set_property(CACHE TIDAL_BLAKE3_SOURCE PROPERTY STRINGS auto config pkgconfig debian portable)
if(NOT TIDAL_BLAKE3_SOURCE MATCHES "^(auto|config|pkgconfig|debian|portable)$")
    message(FATAL_ERROR "TIDAL_BLAKE3_SOURCE: expected auto, config, pkgconfig, debian or portable, "
        "found ${TIDAL_BLAKE3_SOURCE}")
endif()

function(s_blake3_from_config)
    find_package(BLAKE3 CONFIG QUIET GLOBAL)
    if(TARGET BLAKE3::blake3)
        add_library(tidal::blake3 INTERFACE IMPORTED GLOBAL)
        target_link_libraries(tidal::blake3 INTERFACE BLAKE3::blake3)
    endif()
endfunction()

function(s_blake3_from_pkgconfig)
    pkg_search_module(tidal_blake3_installed QUIET IMPORTED_TARGET GLOBAL libblake3)
    if(tidal_blake3_installed_FOUND)
        add_library(tidal::blake3 INTERFACE IMPORTED GLOBAL)
        target_link_libraries(tidal::blake3 INTERFACE PkgConfig::tidal_blake3_installed)
    endif()
endfunction()

function(s_blake3_from_sources portable)
    file(GLOB folders "/usr/share/cargo/registry/blake3-*/c/blake3.c")
    if(NOT folders)
        return()
    endif()
    list(SORT folders COMPARE NATURAL ORDER DESCENDING)
    list(GET folders 0 newest)
    get_filename_component(folder "${newest}" DIRECTORY)
    set(sources "${folder}/blake3.c" "${folder}/blake3_dispatch.c" "${folder}/blake3_portable.c")
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" AND NOT portable)
        foreach(kind sse2 sse41 avx2 avx512)
            list(APPEND sources "${folder}/blake3_${kind}_x86-64_unix.S")
        endforeach()
    endif()
    add_library(tidal_blake3_built STATIC ${sources})
    # The code of others: their warnings are theirs, and it is fast in every build type.
    target_compile_options(tidal_blake3_built PRIVATE -w $<$<COMPILE_LANGUAGE:C>:-O2>)
    if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" OR portable)
        target_compile_definitions(tidal_blake3_built PRIVATE BLAKE3_NO_SSE2 BLAKE3_NO_SSE41
            BLAKE3_NO_AVX2 BLAKE3_NO_AVX512 BLAKE3_USE_NEON=0)
    endif()
    target_include_directories(tidal_blake3_built SYSTEM INTERFACE "${folder}")
    add_library(tidal::blake3 ALIAS tidal_blake3_built)
endfunction()

if(TIDAL_BLAKE3_SOURCE MATCHES "^(auto|config)$" AND NOT TARGET tidal::blake3)
    s_blake3_from_config()
endif()
if(TIDAL_BLAKE3_SOURCE MATCHES "^(auto|pkgconfig)$" AND NOT TARGET tidal::blake3)
    s_blake3_from_pkgconfig()
endif()
if(TIDAL_BLAKE3_SOURCE MATCHES "^(auto|debian)$" AND NOT TARGET tidal::blake3)
    s_blake3_from_sources(FALSE)
endif()
if(TIDAL_BLAKE3_SOURCE STREQUAL "portable" AND NOT TARGET tidal::blake3)
    s_blake3_from_sources(TRUE)
endif()

if(TARGET tidal::blake3)
    set(BLAKE3_FOUND TRUE)
else()
    set(BLAKE3_FOUND FALSE)
endif()
