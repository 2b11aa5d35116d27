/**
 * An expected failure that the caller can act on: thrown by the domain, a union member in GraphQL. Each subclass has a
 * literal `code` that never changes once released; `message` is for people and carries no secret.
 */
export abstract class DomainError extends Error {
  abstract readonly code: string;
}
