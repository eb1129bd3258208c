"""From the merged model to table bytes: check, link, assemble. Pure but for reading credential files."""
