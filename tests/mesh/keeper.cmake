tidal_script_test(keeper COMMAND tests/mesh/test_keeper.sh LABEL mesh TIMEOUT 120 PARALLEL)
