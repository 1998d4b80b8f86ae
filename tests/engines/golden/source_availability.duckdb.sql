SELECT * FROM source_availability
