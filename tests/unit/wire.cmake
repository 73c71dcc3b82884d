tidal_library(tidal_wire_support SOURCES wire_support.c LINKS tidal_wire)
tidal_library(tidal_wire_client_support SOURCES wire_client_support.c
    LINKS tidal_wire_support tidal::cmocka)
foreach(subject pack msg token client_hash client_reply)
    tidal_test(test_wire_${subject} SOURCES test_wire_${subject}.c LINKS tidal_wire_support
        LABEL unit TIMEOUT 120)
endforeach()
# Topology as well: numbers that both folders give a meaning to are compared.
foreach(subject client_request client_write client_read)
    tidal_test(test_wire_${subject} SOURCES test_wire_${subject}.c
        LINKS tidal_wire_client_support tidal_topology LABEL unit TIMEOUT 240)
endforeach()
