
id_bytes*
INBYTES:ÿÿÿÿab