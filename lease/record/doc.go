// Package record has the records that the keys hold, and says what each has to be so that it can be built upon: anybody who may write
// to etcd can have written it.
package record
