# The libraries of others, each as one imported target tidal::<name>. Their headers are system
# headers: the flags of the project do not judge them.
include_guard(GLOBAL)

find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
    message(FATAL_ERROR "expected pkg-config, found none: run ./scripts/setup, then configure again")
endif()

# tidal_package(<name> <pkg-config names, the first one found is taken>)
function(tidal_package name)
    pkg_search_module(tidal_${name} QUIET IMPORTED_TARGET ${ARGN})
    if(NOT tidal_${name}_FOUND)
        list(JOIN ARGN " or " wanted)
        message(FATAL_ERROR "expected the library ${wanted} (pkg-config), found none: "
            "run ./scripts/setup, then configure again")
    endif()
    add_library(tidal::${name} INTERFACE IMPORTED GLOBAL)
    target_link_libraries(tidal::${name} INTERFACE PkgConfig::tidal_${name})
    set_target_properties(PkgConfig::tidal_${name} PROPERTIES IMPORTED_GLOBAL TRUE)
endfunction()

tidal_package(zmq libzmq)
tidal_package(czmq libczmq)
target_link_libraries(tidal::czmq INTERFACE tidal::zmq)
# Debian 12 calls it msgpack, later releases msgpack-c.
tidal_package(msgpack msgpack msgpack-c)
tidal_package(cmocka cmocka)
tidal_package(lmdb lmdb)
tidal_package(xxhash libxxhash)
tidal_package(zlib zlib)
tidal_package(yaml yaml-0.1)
tidal_package(cyaml libcyaml)
target_link_libraries(tidal::cyaml INTERFACE tidal::yaml)

find_package(BLAKE3 MODULE)
if(NOT BLAKE3_FOUND)
    message(FATAL_ERROR "expected BLAKE3 (TIDAL_BLAKE3_SOURCE=${TIDAL_BLAKE3_SOURCE}), found none: "
        "run ./scripts/setup, then configure again")
endif()
