tidal_test(test_dedup_seq_set SOURCES test_dedup_seq_set.c
    LINKS tidal_session LABEL unit TIMEOUT 60)
tidal_test(test_dedup_core SOURCES test_dedup_core.c dedup_model.c
    LINKS tidal_session LABEL unit TIMEOUT 120)
tidal_test(test_forget_gate SOURCES test_forget_gate.c LINKS tidal_session LABEL unit TIMEOUT 60)
tidal_test(test_dedup_checkpoint SOURCES test_dedup_checkpoint.c dedup_model.c
    LINKS tidal_session tidal_store LABEL unit TIMEOUT 120)
tidal_test(test_record_held SOURCES test_record_held.c LINKS tidal_wal LABEL unit TIMEOUT 60)
tidal_test(test_home_book SOURCES test_home_book.c LINKS tidal_session LABEL unit TIMEOUT 60)
tidal_library(tidal_session_support SOURCES session_support.c LINKS tidal_session tidal::cmocka)
tidal_test(test_session_tracker SOURCES test_session_tracker.c
    LINKS tidal_session LABEL unit TIMEOUT 60)
tidal_test(test_session_record SOURCES test_session_record.c
    LINKS tidal_session LABEL unit TIMEOUT 60)
foreach(subject order admit checkpoint)
    tidal_test(test_session_${subject} SOURCES test_session_${subject}.c
        LINKS tidal_session_support LABEL unit TIMEOUT 120)
endforeach()
