import { LRUCache } from 'lru-cache';
import type { CpuAccount } from '../lib/operation-work.ts';
import type { Viewer } from './viewer.ts';
import { holderOf } from './holder-count.ts';

/** Milliseconds of the event loop, of which there are a thousand in a second, for one tenant in one process. */
const MS_PER_SECOND = 400;
/** Burst after a pause, in seconds' worth of the rate. */
const BURST_SECONDS = 2;
/** Accounts that are kept: those of the tenants that were active last. */
const MAX_ACCOUNTS = 10_000;

/** Prices of work that is not measured, in milliseconds: measured on two cores of 2.5 GHz, and rounded up. */
export const PRICES = {
  operation: 0.5,
  /** Reading, parsing and validating. */
  characterOfDocument: 0.0005,
  byteOfRequest: 0.00001,
  valueOfAnswer: 0.002,
  characterOfAnswer: 0.00001,
} as const;

/** The account of a viewer's tenant; undefined for administrators, who have no limit. */
export type CpuShares = (viewer: Viewer) => CpuAccount | undefined;

/** An account for each tenant that is filled with 400 ms per second; work goes on while there is anything in it. */
export function createCpuShares(now: () => number = () => performance.now()): CpuShares {
  const accounts = new LRUCache<string, { left: number; filledAt: number }>({ max: MAX_ACCOUNTS });
  return (viewer) => {
    const holder = holderOf(viewer);
    if (holder === undefined) return undefined;
    const fill = () => {
      const account = accounts.get(holder) ?? { left: BURST_SECONDS * MS_PER_SECOND, filledAt: now() };
      const filled = account.left + ((now() - account.filledAt) / 1_000) * MS_PER_SECOND;
      account.left = Math.min(BURST_SECONDS * MS_PER_SECOND, filled);
      account.filledAt = now();
      accounts.set(holder, account);
      return account;
    };
    return {
      spend: (ms) => {
        fill().left -= ms;
      },
      waitMs: () => Math.ceil((Math.max(0, -fill().left) / MS_PER_SECOND) * 1_000),
    };
  };
}
