tidal_script_test(mesh_tenants COMMAND tests/mesh/test_tenants.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_islands COMMAND tests/mesh/test_islands.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_home_shard COMMAND tests/mesh/test_home_shard.py LABEL mesh TIMEOUT 300)
