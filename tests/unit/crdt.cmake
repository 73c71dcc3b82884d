tidal_test(test_crdt_version_vector SOURCES test_crdt_version_vector.c
    LINKS tidal_crdt LABEL unit TIMEOUT 60)
tidal_test(test_crdt_pn_counter SOURCES test_crdt_pn_counter.c
    LINKS tidal_crdt LABEL unit TIMEOUT 60)
tidal_test(test_usage SOURCES test_usage.c LINKS tidal_engine LABEL unit TIMEOUT 60)
tidal_test(test_replica_checkpoint SOURCES test_replica_checkpoint.c LINKS tidal_engine LABEL unit TIMEOUT 60)
tidal_test(test_crdt_laws SOURCES test_crdt_laws.c LINKS tidal_crdt tidal_signal m LABEL unit TIMEOUT 120)
tidal_test(test_deliveries SOURCES test_deliveries.c LINKS tidal_replication tidal_signal m
    LABEL unit TIMEOUT 120)
