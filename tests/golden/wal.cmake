tidal_test(test_wal_golden SOURCES test_wal_golden.c LINKS tidal_wal tidal_sim_disk
    LABEL unit TIMEOUT 60)
tidal_script_test(wal_golden_hashes COMMAND tests/golden/check_wal_hashes.sh
    LABEL unit TIMEOUT 60 PARALLEL)
