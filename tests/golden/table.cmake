tidal_test(test_table_golden SOURCES test_table_golden.c LINKS tidal_topology
    LABEL unit TIMEOUT 60)
