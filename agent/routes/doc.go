// Package routes keeps the host's routes to what other nodes' containers have in routed pools, by the configuration and by etcd's
// records of blocks, reservations and nodes. It decides nothing about whose an address is.
//
// Hooks tell a keeper of each change; it keeps what it needs of the records, and which prefixes may lead elsewhere by now. Run changes
// those routes a few milliseconds later, many at once. All routes are compared with the kernel's at the start, once a minute, and when
// the kernel tells that something has changed. While the configuration or a kind of records is unknown, as at the start or after etcd was
// made anew, the routes stay as they are. What was known of a record that cannot be read stays.
package routes
