# Short forms of the drills in scripts/drills.
tidal_script_test(drill_island_heal COMMAND scripts/drills/island_heal --seconds 5 --events 10000
    LABEL mesh TIMEOUT 180)
