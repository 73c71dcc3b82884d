tidal_test(test_base_file SOURCES test_base_file.c LINKS tidal_engine tidal_sim_disk LABEL unit
    TIMEOUT 60)
