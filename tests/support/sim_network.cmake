tidal_library(tidal_sim_network
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/sim_network.c ${CMAKE_CURRENT_LIST_DIR}/sim_buffers.c
            ${CMAKE_CURRENT_LIST_DIR}/sim_handles.c
    LINKS tidal_replication)
