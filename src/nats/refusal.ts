import { ErrorCode, NatsError, type Status } from 'nats';

/** Error codes of JetStream's API whose cause an operator can fix. */
const API_REASONS: Readonly<Record<number, string>> = {
  10002: 'the account has reached its storage limit',
  10005: 'the cluster has too few servers for that many replicas (NATS_REPLICAS), or not enough storage on them',
  10023: 'nats-server has reached its limit of storage (max_file_store)',
  10026: 'the account has reached its limit of consumers',
  10027: 'the account has reached its limit of streams',
  10039: 'JetStream is not enabled for this account',
  10047: 'nats-server (max_file_store) or the account has too little storage left',
  10065: 'another stream of this account has the same subjects; set another NATS_PREFIX, or remove that stream',
  10074: 'replicas need a cluster (NATS_REPLICAS)',
  10076: 'JetStream is not enabled on nats-server',
  10122: 'the account limits how large a stream may be',
};

const NO_ANSWER: ReadonlySet<string> = new Set([ErrorCode.Timeout, ErrorCode.NoResponders]);
/** Error codes of a server that has lost the leader of its cluster. */
const NO_LEADER: ReadonlySet<number | undefined> = new Set([10008, 10009]);

/** JetStream's error code for a message that could not be stored, for one of many reasons. */
const STORE_FAILED = 10077;

/** Reason of a closed connection. With TLS 1.3 the alert that states the reason may be lost. */
const CLOSED = 'the server closed the connection, as it does if it refuses the client certificate or requires one';

const CODE_REASONS: Readonly<Record<string, string>> = {
  [ErrorCode.AuthorizationViolation]: 'nats-server refuses the user, password, token, credentials or certificate',
  [ErrorCode.AuthenticationExpired]: 'the credentials have expired',
  [ErrorCode.AccountExpired]: 'the account has expired',
  [ErrorCode.AuthenticationTimeout]: 'nats-server received no log-in in time',
  [ErrorCode.ConnectionRefused]: 'nothing listens at this address',
  [ErrorCode.Timeout]: 'no answer within 5 s',
  [ErrorCode.BadCreds]: 'the file of NATS_CREDS has no user JWT and seed',
  [ErrorCode.NoResponders]: 'JetStream is not enabled, or has no leader at the moment',
  [ErrorCode.ConnectionClosed]: CLOSED,
  [ErrorCode.Disconnect]: CLOSED,
  ECONNRESET: CLOSED,
  EPIPE: CLOSED,
  ENOTFOUND: 'the name of the server cannot be resolved',
  EHOSTUNREACH: 'the server cannot be reached',
  ETIMEDOUT: 'no answer from the server',
};

/** Whether the error is one of NATS, which the connection logs. */
export function isNatsError(error: unknown): boolean {
  return error instanceof NatsError;
}

/** Whether JetStream does not work on this server, but may work on another server of its cluster. */
export function isServerUnavailable(error: unknown): boolean {
  if (!(error instanceof NatsError)) return false;
  return NO_ANSWER.has(error.code) || NO_LEADER.has(error.api_error?.err_code);
}

/** Explains in one sentence why NATS failed or refused a request: for the log and for readiness. Contains no secrets. */
export function describeRefusal(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (error instanceof NatsError) {
    const { api_error: apiError, permissionContext: denied } = error;
    if (apiError !== undefined) {
      const { err_code: errorCode = apiError.code, description } = apiError;
      if (errorCode === STORE_FAILED) return describeStoreFailure(description);
      return API_REASONS[errorCode] ?? `JetStream answered: ${description} (${errorCode})`;
    }
    if (denied !== undefined) return describeDenied(denied);
    if (code === 'SERVER_OPT_NA') {
      return 'nats-server does not offer TLS, which tls:// or a file of certificates requires';
    }
  }
  const known = CODE_REASONS[code];
  if (known !== undefined) return known;
  // Messages of OpenSSL and Node.js, such as `self-signed certificate` and `certificate required`, or of NATS: `Maximum
  // connections exceeded`.
  return error.message.split('\n')[0] ?? error.name;
}

/** The result is public, so it omits descriptions other than limits: they name files of the server. */
function describeStoreFailure(description: string): string {
  if (description.startsWith('maximum ')) return 'the stream is full (max_bytes or max_msgs)';
  if (description.includes('no space left')) return 'the disk of nats-server is full';
  return 'nats-server could not store the message, as its log says';
}

/** A denial that nats-server reports on the connection: the NATS user lacks a permission. */
export type Denial = NonNullable<Status['permissionContext']>;

/** Names the missing permission. */
export function describeDenied({ operation, subject }: Denial): string {
  return `the NATS user lacks the permission to ${operation === 'publish' ? 'publish' : 'subscribe'} to ${subject}`;
}
