tidal_library(tidal_simulated_cluster
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/simulated_cluster.c
            ${CMAKE_CURRENT_LIST_DIR}/simulated_cluster_faults.c
            ${CMAKE_CURRENT_LIST_DIR}/simulated_cluster_single.c
    LINKS tidal_engine tidal_cluster tidal_store tidal_sim_disk tidal_sim_network)
