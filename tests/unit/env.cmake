tidal_library(tidal_env_support SOURCES env_support.c env_child.c LINKS tidal_env tidal::cmocka)
tidal_test(test_env_timers SOURCES test_env_timers.c LINKS tidal_env LABEL unit TIMEOUT 60)
tidal_test(test_env_lock SOURCES test_env_lock.c LINKS tidal_env LABEL unit TIMEOUT 60)
tidal_test(test_env_envelopes SOURCES test_env_envelopes.c LINKS tidal_env LABEL unit TIMEOUT 60)
foreach(subject log loop zmq router peer publish stress)
    tidal_test(test_env_${subject} SOURCES test_env_${subject}.c LINKS tidal_env_support
        LABEL unit TIMEOUT 120)
endforeach()

# A service that only echoes: what env_process is tested with.
add_executable(env_echo_service env_echo_service.c)
target_link_libraries(env_echo_service PRIVATE tidal_flags tidal_env)
set_target_properties(env_echo_service PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/bin")
tidal_test(test_env_process SOURCES test_env_process.c LINKS tidal_env_support
    LABEL unit TIMEOUT 180 ARGS $<TARGET_FILE:env_echo_service>)
add_dependencies(test_env_process env_echo_service)
