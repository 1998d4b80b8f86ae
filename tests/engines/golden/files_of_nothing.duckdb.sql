SELECT * FROM loaded_files
