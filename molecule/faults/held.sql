SET ROLE couch2pg;
CREATE FUNCTION public.held(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    -- A session doesn't notice the change: it lasts until the session or the server ends.
    WHILE pg_catalog.current_setting('rehearsal.hold', true) = 'on' LOOP
        PERFORM pg_catalog.pg_sleep(0.1);
    END LOOP;
    RETURN $1;
END $$;
CREATE TABLE public.held (name text);
INSERT INTO public.held VALUES ('one row');
CREATE INDEX held_name ON public.held (public.held(name));
