tidal_library(tidal_wal_support SOURCES wal_support.c LINKS tidal_wal tidal_sim_disk tidal::cmocka)
tidal_test(test_wal_record SOURCES test_wal_record.c LINKS tidal_wal LABEL unit TIMEOUT 60)
tidal_test(test_record_cohorts SOURCES test_record_cohorts.c LINKS tidal_wal LABEL unit TIMEOUT 60)
tidal_test(test_wal_sim_disk SOURCES test_wal_sim_disk.c LINKS tidal_sim_disk LABEL unit TIMEOUT 60)
tidal_test(test_wal_disk_posix SOURCES test_wal_disk_posix.c LINKS tidal_wal_support tidal_env
    LABEL unit TIMEOUT 60)
foreach(subject format files log recovery reader replica handover truncate)
    tidal_test(test_wal_${subject} SOURCES test_wal_${subject}.c LINKS tidal_wal_support
        LABEL unit TIMEOUT 120)
endforeach()
tidal_test(test_wal_crash SOURCES test_wal_crash.c LINKS tidal_wal_support LABEL unit TIMEOUT 300)
