SELECT {transcription}, s.epoch, s.origin, s.last_seq, {former}
FROM gateway.transcription t JOIN gateway.stream s ON s.session_id = t.session_id
