/** The program cannot start until somebody changes something; trying again would not help. The message says what. */
export class StartError extends Error {}
