tidal_script_test(mesh_replication COMMAND tests/mesh/test_replication.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_cohorts COMMAND tests/mesh/test_cohorts.py LABEL mesh TIMEOUT 180)
tidal_script_test(mesh_session COMMAND tests/mesh/test_session.py LABEL mesh TIMEOUT 180)
