foreach(subject arguments json history load status)
    tidal_test(test_tidalctl_${subject} SOURCES test_tidalctl_${subject}.c
        LINKS tidal_ctl_core LABEL unit TIMEOUT 60)
endforeach()
tidal_test(test_tidalctl_run SOURCES test_tidalctl_run.c LINKS tidal_ctl_client
    LABEL unit TIMEOUT 60)
tidal_test(test_tidalctl_wal SOURCES test_tidalctl_wal.c LINKS tidal_ctl_log tidal_wal_support
    LABEL unit TIMEOUT 60)
tidal_test(test_tidalctl_verify SOURCES test_tidalctl_verify.c
    LINKS tidal_ctl_verify tidal_wal_support LABEL unit TIMEOUT 60)
