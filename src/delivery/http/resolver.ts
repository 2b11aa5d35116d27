import { promises as dns, type RecordWithTtl } from 'node:dns';
import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/collections.ts';
import { pause } from '../../lib/waiting.ts';

/**
 * A name has no address, or too many, or could not be resolved in time. `dnsCode` is the code of c-ares (ENOTFOUND, ETIMEOUT, …),
 * or ETOOMANY.
 */
export class DnsFailureError extends Error {
  readonly code = 'ERR_DNS_FAILURE';
  readonly dnsCode: string;

  constructor(dnsCode: string) {
    super(`the name could not be resolved (${dnsCode})`);
    this.dnsCode = dnsCode;
  }
}

const QUERY_TIMEOUT_MS = 2_000;
const QUERY_TRIES = 2;
/**
 * Milliseconds to wait for the second address family after the first: some name servers and firewalls drop AAAA
 * queries, which would delay every connection by all tries. RFC 8305, section 3, recommends 50 ms; this value also
 * suits distant servers.
 */
const OTHER_FAMILY_MS = 250;
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 60_000;
const NEGATIVE_TTL_MS = 5_000;
const MAX_NAMES = 10_000;
/** Maximum addresses of a name. An answer may have thousands, all of which are checked at each connection. */
export const MAX_ADDRESSES = 64;

/**
 * Resolves with c-ares, not with getaddrinfo, which has four threads that a customer's slow name servers could block, no
 * time limit, a search list that turns short names into internal ones, and accepts `127.1` as an address.
 */
export class Resolver {
  readonly #cares = new dns.Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  /** Answers are promises, so that many connections to a new name cause one query. */
  readonly #answers = new LRUCache<string, Promise<readonly string[]>>({ ...atMost(MAX_NAMES), ttl: MAX_TTL_MS });

  constructor(servers?: readonly string[]) {
    if (servers !== undefined) this.#cares.setServers(servers);
  }

  /** Resolves with every A and AAAA answer, IPv4 first, at least one; rejects with a DnsFailureError. */
  resolve(name: string): Promise<readonly string[]> {
    const known = this.#answers.get(name);
    if (known !== undefined) return known;
    const answer = this.#query(name, (whole) => {
      // Later connections check all addresses of the complete answer.
      if (this.#answers.get(name) === answer) {
        this.#answers.set(name, Promise.resolve(whole.addresses), { ttl: whole.ttlMs });
      }
    }).then(
      ({ addresses, ttlMs }) => {
        this.#answers.set(name, answer, { ttl: ttlMs });
        return addresses;
      },
      (error: unknown) => {
        this.#answers.set(name, answer, { ttl: NEGATIVE_TTL_MS });
        throw error;
      },
    );
    this.#answers.set(name, answer);
    return answer;
  }

  /** Fails running queries. Later queries still work. */
  close(): void {
    this.#cares.cancel();
    this.#answers.clear();
  }

  /**
   * If one family has an answer, the failure or delay of the other is ignored: only checked addresses are connected to.
   * `onLate` is called with the complete answer if the other family answers too late.
   */
  async #query(name: string, onLate: (whole: Answer) => void): Promise<Answer> {
    const families = [this.#cares.resolve4(name, { ttl: true }), this.#cares.resolve6(name, { ttl: true })];
    const all = Promise.allSettled(families);
    const first = await Promise.any(families).catch((): RecordWithTtl[] => []);
    const timer = new AbortController();
    const results = await Promise.race([all, first.length > 0 ? pause(OTHER_FAMILY_MS, timer.signal) : all]);
    timer.abort();
    if (results === undefined) {
      void all.then((whole) => {
        const records = recordsOf(whole);
        if (records.length > first.length && records.length <= MAX_ADDRESSES) onLate(toAnswer(records));
      });
      return toAnswer(first);
    }
    const records = recordsOf(results);
    if (records.length === 0) throw new DnsFailureError(failureCode(results));
    return toAnswer(records);
  }
}

type Answer = { readonly addresses: readonly string[]; readonly ttlMs: number };

function recordsOf(results: readonly PromiseSettledResult<RecordWithTtl[]>[]): RecordWithTtl[] {
  return results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
}

function toAnswer(records: readonly RecordWithTtl[]): Answer {
  if (records.length > MAX_ADDRESSES) throw new DnsFailureError('ETOOMANY');
  return { addresses: records.map(({ address }) => address), ttlMs: ttlMsOf(records) };
}

/** The smallest TTL, within bounds. c-ares returns none for answers after the 256th. */
function ttlMsOf(records: readonly RecordWithTtl[]): number {
  const seconds = Math.min(...records.slice(0, 256).map(({ ttl }) => ttl));
  return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, seconds * 1_000));
}

/** ENODATA of one family is inconclusive if the query for the other failed otherwise. */
function failureCode(results: readonly PromiseSettledResult<unknown>[]): string {
  const codes = results.flatMap((result) => (result.status === 'rejected' ? [codeOf(result.reason)] : []));
  return codes.find((code) => code !== 'ENODATA' && code !== 'ENOTFOUND') ?? codes[0] ?? 'ENODATA';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'EUNKNOWN';
}
