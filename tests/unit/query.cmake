tidal_test(test_retrieve SOURCES test_retrieve.c LINKS tidal_query LABEL unit TIMEOUT 60)
