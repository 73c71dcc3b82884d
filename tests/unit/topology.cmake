tidal_test(test_topology_load SOURCES test_topology_load.c topology_files.c LINKS tidal_topology
    LABEL unit TIMEOUT 60 ARGS ${PROJECT_SOURCE_DIR})
tidal_test(test_topology_schema SOURCES test_topology_schema.c topology_files.c LINKS tidal_topology
    LABEL unit TIMEOUT 60 ARGS ${PROJECT_SOURCE_DIR})
tidal_test(test_topology_mesh SOURCES test_topology_mesh.c LINKS tidal_topology
    LABEL unit TIMEOUT 60)
tidal_test(test_topology_procfile SOURCES test_topology_procfile.c LINKS tidal_topology
    LABEL unit TIMEOUT 60 ARGS ${PROJECT_SOURCE_DIR})
tidal_test(test_route SOURCES test_route.c LINKS tidal_topology
    LABEL unit TIMEOUT 60 ARGS ${PROJECT_SOURCE_DIR})
tidal_test(test_table SOURCES test_table.c LINKS tidal_topology tidal_sim_disk
    LABEL unit TIMEOUT 120)
# The description of routing for other languages gives the vectors that the library is held to.
tidal_script_test(route_vectors COMMAND tests/golden/route_vectors.py --check
    LABEL unit TIMEOUT 60)
tidal_script_test(procfile_check COMMAND scripts/procfile --check LABEL unit TIMEOUT 60)
