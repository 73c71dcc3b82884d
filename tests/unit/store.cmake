tidal_test(test_store_batch SOURCES test_store_batch.c store_folder.c
    LINKS tidal_base LABEL unit TIMEOUT 60)
tidal_test(test_store_contract SOURCES test_store_contract.c store_folder.c
    LINKS tidal_store LABEL unit TIMEOUT 120)
tidal_test(test_store_memory SOURCES test_store_memory.c store_folder.c
    LINKS tidal_store LABEL unit TIMEOUT 60)
tidal_test(test_store_lmdb SOURCES test_store_lmdb.c store_folder.c
    LINKS tidal_store LABEL unit TIMEOUT 300)
tidal_test(test_store_crash SOURCES test_store_crash.c store_folder.c
    LINKS tidal_store LABEL unit TIMEOUT 300)
