tidal_script_test(mesh_retry COMMAND tests/mesh/test_retry_three_gateways.py LABEL mesh TIMEOUT 240)
