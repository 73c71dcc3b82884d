tidal_library(tidal_sim_disk
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/sim_disk.c ${CMAKE_CURRENT_LIST_DIR}/sim_files.c
    LINKS tidal_base)
