"""What feedback says of lists is checked once per statement, where a foreign key did it for every event."""

from alembic import op

revision = "0005"
down_revision = "0004"

# As the foreign key did: an event's list is locked until the commit, so whoever deletes it waits and then sees the event;
# whoever inserts waits for a deletion under way and is then refused.
# Both tables are locked in the order of the writers, who would wait for each other with this otherwise; not for long, since
# all that come after wait too: behind a long transaction it gives up, and can be run again.
STATEMENTS = """
SET LOCAL lock_timeout = '2s';
LOCK TABLE requests, feedback IN ACCESS EXCLUSIVE MODE;
ALTER TABLE feedback DROP CONSTRAINT feedback_request_id_fkey;

CREATE FUNCTION refuse_request(request_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING
        MESSAGE = 'there is no request ' || quote_literal(request_id), TABLE = 'feedback';
END $$;

CREATE FUNCTION check_requests() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    named text[] := ARRAY(SELECT DISTINCT request_id FROM added WHERE request_id IS NOT NULL);
    held text[];
BEGIN
    held := ARRAY(SELECT request_id FROM requests WHERE request_id = ANY(named) FOR KEY SHARE);
    IF cardinality(held) < cardinality(named) THEN
        PERFORM refuse_request(name) FROM unnest(named) AS name WHERE name <> ALL(held);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_requests AFTER INSERT ON feedback REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_requests();

CREATE FUNCTION check_request() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM requests WHERE request_id = NEW.request_id FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM refuse_request(NEW.request_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_request AFTER UPDATE OF request_id ON feedback FOR EACH ROW
    WHEN (NEW.request_id IS NOT NULL AND NEW.request_id IS DISTINCT FROM OLD.request_id) EXECUTE FUNCTION check_request();

-- An older snapshot would not show the events that were committed before the deletion got its lock.
CREATE FUNCTION unlink_feedback() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE feature_not_supported USING MESSAGE = 'requests are deleted in READ COMMITTED transactions only';
    END IF;
    UPDATE feedback SET request_id = NULL WHERE request_id = ANY(ARRAY(SELECT request_id FROM gone));
    RETURN NULL;
END $$;
CREATE TRIGGER unlink_feedback AFTER DELETE ON requests REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION unlink_feedback();

CREATE FUNCTION unlink_all_feedback() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE feedback SET request_id = NULL WHERE request_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER unlink_all_feedback AFTER TRUNCATE ON requests FOR EACH STATEMENT EXECUTE FUNCTION unlink_all_feedback();

CREATE FUNCTION keep_request_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING MESSAGE = 'a request keeps its id', TABLE = 'requests';
END $$;
CREATE TRIGGER keep_request_id BEFORE UPDATE OF request_id ON requests FOR EACH ROW
    WHEN (NEW.request_id IS DISTINCT FROM OLD.request_id) EXECUTE FUNCTION keep_request_id();
"""

BACK = """
DROP TRIGGER check_requests ON feedback;
DROP TRIGGER check_request ON feedback;
DROP TRIGGER unlink_feedback ON requests;
DROP TRIGGER unlink_all_feedback ON requests;
DROP TRIGGER keep_request_id ON requests;
DROP FUNCTION check_requests, check_request, unlink_feedback, unlink_all_feedback, keep_request_id, refuse_request;
ALTER TABLE feedback ADD CONSTRAINT feedback_request_id_fkey
    FOREIGN KEY (request_id) REFERENCES requests (request_id) ON DELETE SET NULL;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(BACK)
