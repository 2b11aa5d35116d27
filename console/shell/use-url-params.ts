import { useCallback } from 'react';
import { useSearchParams } from 'wouter';

type Change = Readonly<Record<string, string | undefined>>;

/** The URL parameters, which have the whole state of a page. Undefined and empty ones are removed. */
export function useUrlParams(): readonly [URLSearchParams, (change: Change) => void] {
  const [params, setParams] = useSearchParams();
  const change = useCallback(
    (changes: Change) => {
      setParams(
        (current) => {
          const next = new URLSearchParams(current);
          for (const [name, value] of Object.entries(changes)) {
            if (value === undefined || value === '') next.delete(name);
            else next.set(name, value);
          }
          return next;
        },
        { replace: true },
      );
    },
    [setParams],
  );
  return [params, change];
}

/** The value that a parameter names; undefined if it is none of them. */
export function readOneOf<Value extends string>(values: readonly Value[], text: string | null): Value | undefined {
  return values.find((value) => value === text);
}
