tidal_test(test_fuzz_wire SOURCES test_fuzz_wire.c fuzz_wire.c LINKS tidal_wire_support
    LABEL fuzz TIMEOUT 240)
# The library's own sources, so that the fuzzer sees their branches.
file(GLOB wire_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/common/wire/*.c")
tidal_fuzzer(fuzz_wire SOURCES fuzz_wire.c ${wire_sources}
    LINKS tidal_base tidal::msgpack tidal::blake3)
