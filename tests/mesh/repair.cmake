tidal_program(tidal_flip_sum SOURCES flip_sum.c LINKS tidal_store tidal_signal)
tidal_script_test(mesh_repair COMMAND tests/mesh/test_repair.py LABEL mesh TIMEOUT 180)
tidal_script_test(mesh_truncation COMMAND tests/mesh/test_truncation.py LABEL mesh TIMEOUT 240)
tidal_script_test(mesh_snapshot COMMAND tests/mesh/test_snapshot.py LABEL mesh TIMEOUT 240)
