CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE main.accounts (
    id INTEGER NOT NULL,
    provider TEXT NOT NULL,
    base_url TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    workspace TEXT,
    learnt TEXT DEFAULT '{}' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    unreachable_since DATETIME,
    retry_at DATETIME,
    blocked_at DATETIME,
    blocked_reason TEXT,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT uq_accounts_provider_base_url_fingerprint UNIQUE (provider, base_url, fingerprint)
);

CREATE TABLE main.attempts (
    shelf SMALLINT DEFAULT '0' NOT NULL,
    batch_id INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    lane_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    attempt_no INTEGER NOT NULL,
    state TEXT NOT NULL,
    final BOOLEAN NOT NULL,
    code TEXT,
    error TEXT,
    answer TEXT,
    citations TEXT,
    finish TEXT,
    model TEXT,
    request_id TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost BIGINT,
    cost_kind TEXT NOT NULL,
    ran BOOLEAN NOT NULL,
    reused_from TEXT,
    changes TEXT,
    CONSTRAINT pk_attempts PRIMARY KEY (shelf, batch_id, seq),
    CONSTRAINT ck_attempts_cost_kind CHECK (cost_kind IN ('exact', 'bound', 'free')),
    CONSTRAINT ck_attempts_again_is_not_final CHECK (state <> 'again' OR NOT final),
    CONSTRAINT ck_attempts_completed_has_answer CHECK (state <> 'completed' OR answer IS NOT NULL),
    CONSTRAINT ck_attempts_state CHECK (state IN ('completed', 'failed', 'cancelled', 'again'))
);

CREATE UNIQUE INDEX main.ix_attempts_final ON attempts (shelf, lane_id, seq) WHERE final = 1;

CREATE TABLE main.jobs (
    shelf SMALLINT DEFAULT '0' NOT NULL,
    lane_id INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    run_id INTEGER NOT NULL,
    no BIGINT NOT NULL,
    "key" TEXT NOT NULL,
    revision INTEGER DEFAULT '0' NOT NULL,
    superseded BOOLEAN DEFAULT (false) NOT NULL,
    digest BLOB NOT NULL,
    template_id INTEGER NOT NULL,
    asked_id INTEGER,
    own TEXT NOT NULL,
    documents TEXT,
    metadata TEXT,
    bytes INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    bound BIGINT,
    CONSTRAINT pk_jobs PRIMARY KEY (shelf, lane_id, seq)
);

CREATE UNIQUE INDEX main.ix_jobs_key ON jobs (shelf, run_id, "key", revision);

CREATE TABLE main.members (
    shelf SMALLINT DEFAULT '0' NOT NULL,
    lane_id INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    attempt_no INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    batch_id INTEGER,
    changes TEXT,
    reason TEXT NOT NULL,
    not_before DATETIME,
    CONSTRAINT pk_members PRIMARY KEY (shelf, lane_id, seq, attempt_no)
);

CREATE INDEX main.ix_members_batch ON members (batch_id, seq);

CREATE INDEX main.ix_members_free ON members (lane_id, seq) WHERE batch_id IS NULL;

CREATE TABLE main.runs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    shelf SMALLINT DEFAULT '0' NOT NULL,
    uid TEXT NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    nameless BOOLEAN DEFAULT (false) NOT NULL,
    owner TEXT,
    spec TEXT NOT NULL,
    priority INTEGER DEFAULT '0' NOT NULL,
    created_at DATETIME NOT NULL,
    opened_at DATETIME,
    finished_at DATETIME,
    first_send_at DATETIME,
    last_progress_at DATETIME,
    cost_limit BIGINT,
    time_limit_s FLOAT,
    deadline_at DATETIME,
    cancel_requested_at DATETIME,
    hold_until DATETIME,
    hold_reason TEXT,
    waiting_for TEXT,
    waiting_since DATETIME,
    waiting_detail TEXT,
    brakes TEXT DEFAULT '{}' NOT NULL,
    expects_more BOOLEAN DEFAULT (false) NOT NULL,
    revisions BIGINT DEFAULT '0' NOT NULL,
    spent BIGINT DEFAULT '0' NOT NULL,
    reserved BIGINT DEFAULT '0' NOT NULL,
    collected_no INTEGER DEFAULT '0' NOT NULL,
    next_no BIGINT DEFAULT '0' NOT NULL,
    total BIGINT DEFAULT '0' NOT NULL,
    completed BIGINT DEFAULT '0' NOT NULL,
    failed BIGINT DEFAULT '0' NOT NULL,
    cancelled BIGINT DEFAULT '0' NOT NULL,
    cost_unknown BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT ck_runs_waiting_for CHECK (waiting_for IS NULL OR waiting_for IN ('budget', 'account', 'files', 'review', 'canary', 'provider')),
    CONSTRAINT ck_runs_cost_limit_positive CHECK (cost_limit IS NULL OR cost_limit > 0),
    CONSTRAINT ck_runs_ended_within_total CHECK (opened_at IS NULL OR completed + failed + cancelled <= total),
    CONSTRAINT ck_runs_reserved_not_negative CHECK (reserved >= 0),
    CONSTRAINT ck_runs_spent_not_negative CHECK (spent >= 0),
    CONSTRAINT uq_runs_project_name UNIQUE (project, name),
    CONSTRAINT uq_runs_uid UNIQUE (uid)
);

CREATE TABLE main.events (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    batch_id INTEGER,
    "key" TEXT,
    at DATETIME NOT NULL,
    action TEXT NOT NULL,
    detail TEXT DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT fk_events_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE INDEX main.ix_events_run ON events (run_id, id);

CREATE TABLE main.lanes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    shelf SMALLINT DEFAULT '0' NOT NULL,
    run_id INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    account_id INTEGER,
    size BIGINT DEFAULT '0' NOT NULL,
    released BIGINT DEFAULT '0' NOT NULL,
    cursor BIGINT DEFAULT '0' NOT NULL,
    lease_no INTEGER DEFAULT '0' NOT NULL,
    lease_owner TEXT,
    lease_until DATETIME,
    CONSTRAINT ck_lanes_order CHECK (0 <= "cursor" AND "cursor" <= released AND released <= size),
    CONSTRAINT fk_lanes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_lanes_run_id FOREIGN KEY(run_id) REFERENCES runs (id),
    CONSTRAINT uq_lanes_run_id_provider_model_endpoint UNIQUE (run_id, provider, model, endpoint)
);

CREATE TABLE main.templates (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    data TEXT NOT NULL,
    CONSTRAINT fk_templates_run_id FOREIGN KEY(run_id) REFERENCES runs (id),
    CONSTRAINT uq_templates_run_id_digest UNIQUE (run_id, digest)
);

CREATE TABLE main.batches (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    shelf SMALLINT DEFAULT '0' NOT NULL,
    run_id INTEGER NOT NULL,
    lane_id INTEGER,
    account_id INTEGER,
    kind TEXT NOT NULL,
    lo BIGINT,
    hi BIGINT,
    state TEXT NOT NULL,
    token TEXT,
    count INTEGER NOT NULL,
    bytes BIGINT DEFAULT '0' NOT NULL,
    tokens BIGINT DEFAULT '0' NOT NULL,
    sha256 TEXT,
    spool TEXT,
    spool_host TEXT,
    twin_guard INTEGER,
    file_ref TEXT,
    ref TEXT,
    proof TEXT,
    refused_refs TEXT DEFAULT '[]' NOT NULL,
    attempt_no INTEGER DEFAULT '1' NOT NULL,
    reserved BIGINT DEFAULT '0' NOT NULL,
    cost BIGINT DEFAULT '0' NOT NULL,
    provider_total INTEGER,
    provider_completed INTEGER DEFAULT '0' NOT NULL,
    provider_failed INTEGER DEFAULT '0' NOT NULL,
    completed INTEGER DEFAULT '0' NOT NULL,
    failed INTEGER DEFAULT '0' NOT NULL,
    cancelled INTEGER DEFAULT '0' NOT NULL,
    again INTEGER DEFAULT '0' NOT NULL,
    codes TEXT DEFAULT '{}' NOT NULL,
    word TEXT,
    end_reason TEXT,
    error_code TEXT,
    error_message TEXT,
    cancel_requested_at DATETIME,
    cancel_sent_at DATETIME,
    sealed_at DATETIME,
    intent_at DATETIME,
    heard_at DATETIME,
    looked_at DATETIME,
    looks INTEGER DEFAULT '0' NOT NULL,
    accepted_at DATETIME,
    expires_at DATETIME,
    results_until DATETIME,
    ended_at DATETIME,
    collected_at DATETIME,
    poll_at DATETIME,
    failures INTEGER DEFAULT '0' NOT NULL,
    missing_since DATETIME,
    collected_no INTEGER,
    judging TEXT,
    lease_no INTEGER DEFAULT '0' NOT NULL,
    lease_owner TEXT,
    lease_until DATETIME,
    CONSTRAINT ck_batches_collected_has_no CHECK ((state IN ('collected', 'abandoned')) = (collected_no IS NOT NULL)),
    CONSTRAINT ck_batches_reason CHECK (end_reason IS NULL OR end_reason IN ('completed', 'expired', 'cancelled', 'failed', 'lost', 'local')),
    CONSTRAINT ck_batches_range_not_empty CHECK (kind <> 'range' OR (lo IS NOT NULL AND lo < hi)),
    CONSTRAINT ck_batches_kind CHECK (kind IN ('range', 'members', 'local')),
    CONSTRAINT ck_batches_proof CHECK (proof IS NULL OR proof IN ('certain', 'provisional')),
    CONSTRAINT ck_batches_only_live_reserves CHECK (reserved = 0 OR state IN ('sealed', 'submitting', 'running', 'ended')),
    CONSTRAINT ck_batches_state CHECK (state IN ('sealed', 'submitting', 'running', 'ended', 'collected', 'void', 'abandoned')),
    CONSTRAINT ck_batches_running_has_ref CHECK (state NOT IN ('running', 'ended') OR ref IS NOT NULL),
    CONSTRAINT fk_batches_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_batches_lane_id FOREIGN KEY(lane_id) REFERENCES lanes (id),
    CONSTRAINT fk_batches_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE UNIQUE INDEX main.ix_batches_collected ON batches (run_id, collected_no);

CREATE INDEX main.ix_batches_live ON batches (run_id, state) WHERE state IN ('sealed', 'submitting', 'running', 'ended');

CREATE UNIQUE INDEX main.ix_batches_ref ON batches (account_id, ref);

CREATE UNIQUE INDEX main.ix_batches_token ON batches (token);

CREATE UNIQUE INDEX main.ix_batches_twins ON batches (account_id, twin_guard) WHERE state = 'submitting';

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING version_num;

ALTER TABLE runs ADD COLUMN canary TEXT;

ALTER TABLE batches ADD COLUMN marks TEXT;

CREATE TABLE prefixes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL,
    lane_id INTEGER NOT NULL,
    level TEXT NOT NULL,
    digest BLOB NOT NULL,
    primer_seq BIGINT NOT NULL,
    tokens INTEGER NOT NULL,
    jobs BIGINT NOT NULL,
    primed_at DATETIME,
    warmed_at DATETIME,
    warm_until DATETIME,
    CONSTRAINT ck_prefixes_level CHECK (level IN ('system', 'documents')),
    CONSTRAINT fk_prefixes_run_id FOREIGN KEY(run_id) REFERENCES runs (id),
    CONSTRAINT fk_prefixes_lane_id FOREIGN KEY(lane_id) REFERENCES lanes (id)
);

CREATE INDEX ix_prefixes_lane ON prefixes (lane_id, primer_seq);

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

CREATE TABLE uploads (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    content TEXT NOT NULL,
    name TEXT NOT NULL,
    ref TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    made_at DATETIME NOT NULL,
    expires_at DATETIME NOT NULL,
    keep BOOLEAN DEFAULT false NOT NULL,
    released_at DATETIME,
    deleted_at DATETIME,
    CONSTRAINT ck_uploads_deleted_was_released CHECK (deleted_at IS NULL OR released_at IS NOT NULL),
    CONSTRAINT fk_uploads_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_uploads_account_id_ref UNIQUE (account_id, ref)
);

CREATE TABLE loans (
    batch_id INTEGER NOT NULL,
    upload_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    CONSTRAINT pk_loans PRIMARY KEY (batch_id, upload_id)
);

CREATE INDEX ix_loans_upload ON loans (upload_id);

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002'
