foreach(module bytes check err hlc ids prng)
    tidal_test(test_base_${module} SOURCES test_base_${module}.c LINKS tidal_base LABEL unit TIMEOUT 60)
endforeach()
tidal_test(test_base_hash SOURCES test_base_hash.c LINKS tidal_base tidal::blake3 LABEL unit TIMEOUT 60)
