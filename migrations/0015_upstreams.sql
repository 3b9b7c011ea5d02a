-- A provider may have several upstreams, of which the next is asked where one fails: each call says which was asked, and
-- whether its answer was passed on to the client (NULL) or another upstream was asked instead (1).
ALTER TABLE calls ADD COLUMN upstream TEXT;
ALTER TABLE calls ADD COLUMN superseded INTEGER;
