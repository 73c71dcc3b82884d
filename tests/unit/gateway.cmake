tidal_library(tidal_gateway_support SOURCES gateway_support.c
    LINKS tidal_gateway tidal_sim_disk tidal::cmocka)
foreach(subject write pairs read retrieve session mesh tenants)
    tidal_test(test_gateway_${subject} SOURCES test_gateway_${subject}.c
        LINKS tidal_gateway_support LABEL unit TIMEOUT 60)
endforeach()
