tidal_test(test_proxy SOURCES test_proxy.c LINKS tidal_proxy_shell tidal_env_support
    LABEL unit TIMEOUT 180)
tidal_test(test_proxy_commands SOURCES test_proxy_commands.c LINKS tidal_env_support
    LABEL unit TIMEOUT 120 ARGS $<TARGET_FILE:tidal_partition_proxy>)
add_dependencies(test_proxy_commands tidal_partition_proxy)
