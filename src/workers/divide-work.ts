import type { Config } from '../config/config.ts';
import type { Role } from '../config/parsers.ts';

/** The roles that worker processes have in place of the main process. */
const WORKER_ROLES: readonly Role[] = ['dispatcher', 'sender'];
/** Minimum connections of a process. With fewer, its statements would wait for each other. */
const MIN_POOL_SIZE = 4;

type DividedWork = {
  /** The configuration of the main process. */
  readonly main: Config;
  /** Undefined: the main process has all roles. */
  readonly workers: { readonly count: number; readonly config: Config } | undefined;
};

/** Divides roles and connections between the main process and its workers. */
export function divideWork(config: Config): DividedWork {
  const { workers: count, roles, databasePoolSize } = config;
  const workerRoles = WORKER_ROLES.filter((role) => roles.has(role));
  if (count === 0 || workerRoles.length === 0) return { main: config, workers: undefined };
  const mainRoles = [...roles].filter((role) => !workerRoles.includes(role));
  const poolSize = Math.max(MIN_POOL_SIZE, Math.ceil(databasePoolSize / count));
  return {
    main: { ...config, roles: new Set(mainRoles) },
    workers: { count, config: { ...config, roles: new Set(workerRoles), databasePoolSize: poolSize } },
  };
}
