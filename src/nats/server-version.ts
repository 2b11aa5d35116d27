/** 2.9 brought heartbeats for pull consumers, without which a broken one goes unnoticed. */
const OLDEST: Version = [2, 9, 0];
/** Before this a nats-server that is killed can lose messages or strand them: docs/nats-server.md has the list. */
const SOUND: Version = [2, 12, 5];

type Version = readonly [major: number, minor: number, patch: number];

/** Whether a nats-server of this version can be worked with, and whether it survives being killed. */
export function judgeServerVersion(text: string | undefined): 'too old' | 'risky' | 'sound' {
  const [, major, minor, patch] = /^v?(\d+)\.(\d+)\.(\d+)/.exec(text ?? '') ?? [];
  if (major === undefined) return 'risky';
  const version: Version = [Number(major), Number(minor), Number(patch)];
  if (isOlder(version, OLDEST)) return 'too old';
  return isOlder(version, SOUND) ? 'risky' : 'sound';
}

function isOlder(version: Version, other: Version): boolean {
  const difference = version.map((part, index) => part - (other[index] ?? 0)).find((part) => part !== 0);
  return difference !== undefined && difference < 0;
}
