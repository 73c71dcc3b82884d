tidal_test(test_keeper_core SOURCES test_keeper_core.c LINKS tidal_keeper_core LABEL unit TIMEOUT 60)
