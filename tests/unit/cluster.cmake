tidal_library(tidal_reconcile_support SOURCES reconcile_support.c LINKS tidal_cluster)
tidal_test(test_reconcile_compare SOURCES test_reconcile_compare.c
    LINKS tidal_reconcile_support tidal_reconciler_files LABEL unit TIMEOUT 60)
tidal_test(test_reconcile_engine SOURCES test_reconcile_engine.c
    LINKS tidal_reconcile_support tidal_sim_disk LABEL unit TIMEOUT 60)
tidal_test(test_reconcile_files SOURCES test_reconcile_files.c
    LINKS tidal_reconcile_support tidal_reconciler_files tidal_sim_disk LABEL unit TIMEOUT 60)
tidal_test(test_mesh_view SOURCES test_mesh_view.c LINKS tidal_cluster LABEL unit TIMEOUT 60)
tidal_test(test_stable_floor SOURCES test_stable_floor.c LINKS tidal_cluster LABEL unit TIMEOUT 60)
tidal_test(test_clock_offset SOURCES test_clock_offset.c LINKS tidal_cluster LABEL unit TIMEOUT 60)
tidal_test(test_control_decision SOURCES test_control_decision.c LINKS tidal_cluster tidal_sim_disk
    LABEL unit TIMEOUT 60)
tidal_test(test_reconcile_checks SOURCES test_reconcile_checks.c LINKS tidal_cluster LABEL unit
    TIMEOUT 60)
tidal_test(test_snapshot_fetch SOURCES test_snapshot_fetch.c LINKS tidal_cluster tidal::blake3 LABEL unit
    TIMEOUT 60)
tidal_test(test_reconcile_snapshots SOURCES test_reconcile_snapshots.c
    LINKS tidal_reconcile_support tidal_sim_disk tidal::blake3 LABEL unit TIMEOUT 60)
