// Package notes keeps what must outlive a pod in the directory notes/ of the volume, beside pgdata/: which member this volume is, in
// which epoch and timeline its data directory was primary, which destructive step is under way, and what was done to it.
//
//	lock         package volumelock
//	member.json  Member, replaced as a whole
//	journal      Entry; the file exists only while a step is open (SAFETY rule 16)
//	history      one JSON object per line, for people
//
// Everything here is fsynced, file and directory, before the function returns. Only the process that holds the volume's lock may call
// anything that writes. Fields that this release does not know are kept when a file is written again.
package notes
