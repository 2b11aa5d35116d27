/**
 * An expected failure that the caller can act on: thrown by the domain, a union member in GraphQL. Each subclass has a
 * literal `code` that never changes once released; `message` is for people and carries no secret.
 */
export abstract class DomainError extends Error {
  abstract readonly code: string;

  constructor(message: string) {
    super(message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed()}…` : message);
  }
}

/** Characters. What a message names comes from the request, and may be long. */
const MAX_MESSAGE_LENGTH = 2_000;
