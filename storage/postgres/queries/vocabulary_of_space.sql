SELECT words, spelling FROM gateway.space_vocabulary WHERE space_id = $1
