tidal_test(test_fuzz_wal SOURCES test_fuzz_wal.c fuzz_wal.c LINKS tidal_wal tidal_sim_disk m
    LABEL fuzz TIMEOUT 240)
# The library's own sources, so that the fuzzer sees their branches.
file(GLOB wal_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/common/wal/*.c")
tidal_fuzzer(fuzz_wal SOURCES fuzz_wal.c ${wal_sources}
    LINKS tidal_sim_disk tidal_base tidal::blake3 m)
