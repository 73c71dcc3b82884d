foreach(core completer group_pace leader shipper receiver receiver_source)
    tidal_test(test_${core} SOURCES test_${core}.c LINKS tidal_replication LABEL unit TIMEOUT 60)
endforeach()
tidal_test(test_receiver_engine SOURCES test_receiver_engine.c
    LINKS tidal_engine tidal_wal_support LABEL unit TIMEOUT 60)
