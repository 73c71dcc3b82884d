foreach(group limits modes lots)
    tidal_test(test_link_rules_${group} SOURCES test_link_rules_${group}.c link_rules_support.c
        LINKS tidal_replication LABEL unit TIMEOUT 60)
endforeach()
foreach(core lag_reports applier_trace)
    tidal_test(test_${core} SOURCES test_${core}.c LINKS tidal_replication LABEL unit TIMEOUT 60)
endforeach()
tidal_test(test_sim_network SOURCES test_sim_network.c LINKS tidal_sim_network LABEL unit TIMEOUT 60)
